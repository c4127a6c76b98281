//! Assembles seccomp programs: a list of rules becomes classic BPF (seccomp(2)).
//!
//! Invariant: calls of another architecture or of the x32 interface do not exist (`ENOSYS`): their numbers mean
//! other calls, which nobody would answer.

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{c_long, sock_filter};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Calls of the x32 interface have this bit. No call of another architecture has a number as large.
const X32_BIT: u32 = 0x4000_0000;

/// Where the parts of `seccomp_data` are.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The supervisor answers it.
    Notify,
    /// It fails with this error.
    Fail(i32),
    /// The kernel carries it out.
    Allow,
}

impl Action {
    const fn value(self) -> u32 {
        match self {
            Self::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Self::Fail(error) => {
                libc::SECCOMP_RET_ERRNO | (error.unsigned_abs() & libc::SECCOMP_RET_DATA)
            }
            Self::Allow => libc::SECCOMP_RET_ALLOW,
        }
    }
}

/// A test of an argument's lower half.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    /// It is this number.
    Is(u32),
    /// It has one of these bits.
    HasAny(u32),
}

/// A call with conditions on its arguments, all of which must hold, and what happens to it then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) call: c_long,
    pub(super) tests: &'static [(u32, Test)],
    pub(super) action: Action,
}

/// A rule without conditions.
pub(super) const fn always(call: c_long, action: Action) -> Rule {
    Rule {
        call,
        tests: &[],
        action,
    }
}

/// A rule with conditions.
pub(super) const fn when(call: c_long, tests: &'static [(u32, Test)], action: Action) -> Rule {
    Rule {
        call,
        tests,
        action,
    }
}

/// Assembles a program that tries the rules from first to last and allows what none is about.
pub(super) fn assemble(rules: &[Rule]) -> Vec<sock_filter> {
    let foreign = Action::Fail(libc::ENOSYS).value();
    let mut code = vec![
        load(ARCHITECTURE_AT),
        jump(BPF_JEQ, ARCHITECTURE, 1, 0),
        give(foreign),
        load(NUMBER_AT),
        jump(BPF_JSET, X32_BIT, 0, 1),
        give(foreign),
    ];
    for rule in rules {
        rule.assemble(&mut code);
    }
    code.push(give(Action::Allow.value()));
    code
}

impl Rule {
    fn assemble(&self, code: &mut Vec<sock_filter>) {
        let number = u32::try_from(self.call).unwrap_or(u32::MAX);
        if self.tests.is_empty() {
            code.extend([jump(BPF_JEQ, number, 0, 1), give(self.action.value())]);
            return;
        }
        // A failed test skips the rest of the tests and the action, to where the number is loaded again.
        let mut body = Vec::new();
        for (position, (argument, test)) in self.tests.iter().enumerate() {
            let miss = 2 * (self.tests.len() - 1 - position) + 1;
            let miss = u8::try_from(miss).unwrap_or(u8::MAX);
            body.push(load(ARGUMENTS_AT + 8 * argument));
            body.push(match test {
                Test::Is(value) => jump(BPF_JEQ, *value, 0, miss),
                Test::HasAny(bits) => jump(BPF_JSET, *bits, 0, miss),
            });
        }
        body.push(give(self.action.value()));
        body.push(load(NUMBER_AT));
        let skip = u8::try_from(body.len()).unwrap_or(u8::MAX);
        code.push(jump(BPF_JEQ, number, 0, skip));
        code.extend(body);
    }
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn give(action: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, action)
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump(operation: u32, k: u32, hit: u8, miss: u8) -> sock_filter {
    let code = u16::try_from(BPF_JMP | operation | BPF_K).unwrap_or(0);
    sock_filter {
        code,
        jt: hit,
        jf: miss,
        k,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What the kernel would do with a call.
    pub(crate) fn judge(code: &[sock_filter], call: c_long, arguments: [u64; 6]) -> Action {
        judge_as(ARCHITECTURE, code, call, arguments)
    }

    fn judge_as(
        architecture: u32,
        code: &[sock_filter],
        call: c_long,
        arguments: [u64; 6],
    ) -> Action {
        let (mut accumulator, mut at) = (0_u32, 0);
        loop {
            let step = code[at];
            at += 1;
            match u32::from(step.code) & 7 {
                BPF_LD => {
                    accumulator = match step.k {
                        NUMBER_AT => call as u32,
                        ARCHITECTURE_AT => architecture,
                        offset => arguments[(offset - ARGUMENTS_AT) as usize / 8] as u32,
                    }
                }
                BPF_RET if step.k == libc::SECCOMP_RET_USER_NOTIF => return Action::Notify,
                BPF_RET if step.k == libc::SECCOMP_RET_ALLOW => return Action::Allow,
                BPF_RET => return Action::Fail((step.k & libc::SECCOMP_RET_DATA) as i32),
                _ => {
                    let hit = match u32::from(step.code) & 0xf0 {
                        BPF_JSET => accumulator & step.k != 0,
                        _ => accumulator == step.k,
                    };
                    at += usize::from(if hit { step.jt } else { step.jf });
                }
            }
        }
    }

    #[test]
    fn rules_are_tried_in_order_and_all_tests_must_hold() {
        let rules = [
            when(
                7,
                &[(0, Test::Is(1)), (3, Test::HasAny(0b110))],
                Action::Notify,
            ),
            when(7, &[(0, Test::Is(1))], Action::Fail(13)),
            always(9, Action::Fail(1)),
        ];
        let code = assemble(&rules);
        let first = |a, d| judge(&code, 7, [a, 0, 0, d, 0, 0]);
        assert_eq!(first(1, 0b010), Action::Notify);
        assert_eq!(first(1, 0b001), Action::Fail(13));
        assert_eq!(first(2, 0b010), Action::Allow);
        assert_eq!(judge(&code, 9, [0; 6]), Action::Fail(1));
        assert_eq!(judge(&code, 8, [1, 0, 0, 6, 0, 0]), Action::Allow);
    }

    #[test]
    fn foreign_calls_do_not_exist() {
        let code = assemble(&[]);
        const I386: u32 = 0x4000_0003;
        assert_eq!(judge_as(I386, &code, 1, [0; 6]), Action::Fail(libc::ENOSYS));
        assert_eq!(
            judge(&code, 0x4000_0001, [0; 6]),
            Action::Fail(libc::ENOSYS)
        );
        assert_eq!(judge(&code, 1, [0; 6]), Action::Allow);
    }
}
