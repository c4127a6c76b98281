//! The supervisor's threads that rest until there is more to answer than one thread can.

use std::sync::{Condvar, Mutex, PoisonError};

/// Where threads rest.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    state: Mutex<State>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct State {
    resting: u32,
    /// How many of those that rest were called and have not got up yet.
    calls: u32,
    is_dissolved: bool,
}

impl Reserve {
    /// Comes back when the thread is called, or when there is no reserve any more.
    pub(super) fn rest(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.resting += 1;
        while state.calls == 0 && !state.is_dissolved {
            state = self
                .called
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.calls = state.calls.saturating_sub(1);
        state.resting -= 1;
    }

    /// Calls one thread, if one rests that was not called yet.
    pub(super) fn call_one(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.calls < state.resting {
            state.calls += 1;
            self.called.notify_one();
        }
    }

    /// Calls all threads, now and whenever one comes to rest.
    pub(super) fn dissolve(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_dissolved = true;
        self.called.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_gets_one_thread_up_and_the_end_all_of_them() {
        let reserve = Reserve::default();
        // Nobody rests: the call is for nobody, and the next to rest is not disturbed by it.
        reserve.call_one();
        assert_eq!(reserve.state.lock().unwrap().calls, 0);
        let (sender, risen) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (sender, reserve) = (sender.clone(), &reserve);
                scope.spawn(move || {
                    reserve.rest();
                    sender.send(()).unwrap();
                });
            }
            while reserve.state.lock().unwrap().resting < 3 {
                std::thread::yield_now();
            }
            reserve.call_one();
            risen.recv().unwrap();
            assert_eq!(reserve.state.lock().unwrap().resting, 2);
            assert!(risen.try_recv().is_err());
            reserve.dissolve();
            risen.recv().unwrap();
            risen.recv().unwrap();
        });
        reserve.rest();
    }
}
