//! All credentials of a step, each under the number that its processes carry.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::{Credentials, capability};
use crate::system::limits::{self, Limits};

/// The soft limit of the first credentials, in microseconds: far beyond what a real-time process would set.
const FIRST_LIMIT: u64 = 0x5354_4147_0000_0000;

/// Credentials by number.
#[derive(Debug)]
pub(in crate::supervisor) struct CredentialTable {
    first_limit: u64,
    has_dropped: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    entries: Vec<Arc<Credentials>>,
    numbers: HashMap<Arc<Credentials>, u64>,
}

impl CredentialTable {
    /// A table whose first entry is carried by this process and what it forks.
    pub(in crate::supervisor) fn carried_by_this_process(
        first: Credentials,
    ) -> Result<Self, Errno> {
        let hard = limits::real_time_limits(0)?.hard;
        // A soft limit cannot be above the hard one, which is endless nearly everywhere.
        let table = Self::new(first, FIRST_LIMIT.min(hard / 2));
        limits::set_real_time_limits(
            0,
            Limits {
                soft: table.first_limit,
                hard,
            },
        )?;
        Ok(table)
    }

    fn new(first: Credentials, first_limit: u64) -> Self {
        let first = Arc::new(first);
        let numbers = HashMap::from([(Arc::clone(&first), 0)]);
        Self {
            first_limit,
            has_dropped: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                entries: vec![first],
                numbers,
            }),
        }
    }

    /// The credentials of a thread's process; one that is gone or changed the limit is as at the start.
    pub(in crate::supervisor) fn of(&self, thread: u32) -> Arc<Credentials> {
        let limit = limits::real_time_limits(thread).map_or(0, |limits| limits.soft);
        self.with_limit(limit)
    }

    fn with_limit(&self, limit: u64) -> Arc<Credentials> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let number = limit
            .checked_sub(self.first_limit)
            .and_then(|n| usize::try_from(n).ok());
        let entry = number.and_then(|number| inner.entries.get(number));
        Arc::clone(entry.unwrap_or(&inner.entries[0]))
    }

    /// Whether any process became one whom modes keep out of files.
    pub(in crate::supervisor) fn has_dropped(&self) -> bool {
        self.has_dropped.load(Ordering::Acquire)
    }

    fn limit_of(&self, credentials: Credentials) -> u64 {
        if !credentials.can(capability::DAC_OVERRIDE) {
            self.has_dropped.store(true, Ordering::Release);
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { entries, numbers } = &mut *inner;
        let next = entries.len() as u64;
        let credentials = Arc::new(credentials);
        let number = *numbers.entry(Arc::clone(&credentials)).or_insert(next);
        if number == next {
            entries.push(credentials);
        }
        self.first_limit + number
    }

    /// Gives a thread's process other credentials.
    pub(in crate::supervisor) fn set(
        &self,
        thread: u32,
        credentials: Credentials,
    ) -> Result<(), Errno> {
        let soft = self.limit_of(credentials);
        let hard = limits::real_time_limits(thread)?.hard;
        limits::set_real_time_limits(thread, Limits { soft, hard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_foreign_limits_mean_the_start() {
        let root = Credentials::new(0, 0, vec![0]);
        let table = CredentialTable::new(root.clone(), 1000);
        let app = Credentials::new(5, 5, vec![]);
        let limit = table.limit_of(app.clone());
        assert_eq!(limit, 1001);
        assert_eq!(*table.with_limit(limit), app);
        assert_eq!(table.limit_of(app), limit);
        for foreign in [0, 999, 1002, u64::MAX] {
            assert_eq!(*table.with_limit(foreign), root);
        }
    }
}
