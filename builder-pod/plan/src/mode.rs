//! `--chmod`: octal numbers and the symbolic form of chmod(1).
//!
//! Invariant: a mode never has other bits than permission, set-id and sticky ones.

/// Why a mode cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--chmod {0:?} is neither an octal number up to 07777 nor of the form u=rwX,go=rX")]
pub struct ModeError(String);

/// A change of permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChange(Change);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// These bits, whatever was there.
    Set(u32),
    /// One after the other.
    Actions(Vec<Action>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Action {
    /// Bits of the classes that it is about.
    who: u32,
    operator: Operator,
    permissions: Vec<Permission>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Replace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permission {
    /// The same bits for each class.
    Bits(u32),
    /// Execution where it makes sense: of directories and of what somebody may execute already.
    ExecuteIfSensible,
    /// What another class has; the shift of its bits.
    OfClass(u32),
}

const SET_ID: u32 = 0o6000;
const STICKY: u32 = 0o1000;
const EXECUTE: u32 = 0o111;

impl ModeChange {
    /// Reads a `--chmod` value.
    ///
    /// # Errors
    /// When it is of neither form.
    pub fn parse(text: &str) -> Result<Self, ModeError> {
        let wrong = || ModeError(text.to_owned());
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return match u32::from_str_radix(text, 8) {
                Ok(bits) if bits <= 0o7777 => Ok(Self(Change::Set(bits))),
                _ => Err(wrong()),
            };
        }
        let mut actions = Vec::new();
        for clause in text.split(',') {
            parse_clause(clause, &mut actions).ok_or_else(wrong)?;
        }
        Ok(Self(Change::Actions(actions)))
    }

    /// The mode after the change.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match &self.0 {
            Change::Set(bits) => *bits,
            Change::Actions(actions) => {
                let executable = is_directory || mode & EXECUTE != 0;
                let apply = |mode, action: &Action| action.apply(mode, executable);
                actions.iter().fold(mode, apply)
            }
        }
    }

    /// The mode of directories that are made because something is copied into them: only a number is for them,
    /// and not its set-id bits.
    pub fn of_parents(&self) -> Option<u32> {
        match self.0 {
            Change::Set(bits) => Some(bits & 0o777),
            Change::Actions(_) => None,
        }
    }
}

/// `WHO` and one or more times `OPERATOR PERMISSIONS`.
fn parse_clause(text: &str, actions: &mut Vec<Action>) -> Option<()> {
    let (classes, mut rest) = text.split_at(text.find(['+', '-', '='])?);
    let mut who = 0;
    for class in classes.chars() {
        who |= match class {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o0007,
            'a' => 0o6777,
            _ => return None,
        };
    }
    if who == 0 {
        who = 0o6777;
    }
    while let Some(operator) = rest.chars().next() {
        let operator = match operator {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Replace,
        };
        rest = &rest[1..];
        let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
        let permissions: Option<Vec<Permission>> = rest[..end].chars().map(permission).collect();
        let permissions = permissions?;
        rest = &rest[end..];
        // The sticky bit belongs to no class; it is changed where it is named, but not for others alone.
        let names_sticky = permissions.contains(&Permission::Bits(STICKY)) && who != 0o0007;
        actions.push(Action {
            who: if names_sticky { who | STICKY } else { who },
            operator,
            permissions,
        });
    }
    Some(())
}

fn permission(character: char) -> Option<Permission> {
    Some(match character {
        'r' => Permission::Bits(0o444),
        'w' => Permission::Bits(0o222),
        'x' => Permission::Bits(EXECUTE),
        's' => Permission::Bits(SET_ID),
        't' => Permission::Bits(STICKY),
        'X' => Permission::ExecuteIfSensible,
        'u' => Permission::OfClass(6),
        'g' => Permission::OfClass(3),
        'o' => Permission::OfClass(0),
        _ => return None,
    })
}

impl Action {
    fn apply(&self, mode: u32, executable: bool) -> u32 {
        let bits = self.permissions.iter().map(|permission| match permission {
            Permission::Bits(bits) => *bits,
            // What is taken away needs no sense.
            Permission::ExecuteIfSensible if executable || self.operator == Operator::Remove => {
                EXECUTE
            }
            Permission::ExecuteIfSensible => 0,
            Permission::OfClass(shift) => {
                let class = (mode >> shift) & 7;
                class << 6 | class << 3 | class
            }
        });
        let bits = bits.fold(0, |all, bits| all | bits) & self.who;
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Replace => (mode & !self.who) | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_changed_as_chmod_changes_them() {
        for (text, mode, directory, expected) in [
            ("755", 0o600, false, 0o755),
            ("04711", 0o600, false, 0o4711),
            ("0", 0o777, true, 0),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("a+x", 0o644, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("-x", 0o755, false, 0o644),
            ("a-X", 0o755, false, 0o644),
            ("go-w", 0o666, false, 0o644),
            ("u+s", 0o755, false, 0o4755),
            ("ug+s", 0o755, false, 0o6755),
            ("o+s", 0o755, false, 0o755),
            ("+t", 0o755, true, 0o1755),
            ("o+t", 0o755, true, 0o755),
            ("u=rwx", 0o4644, false, 0o744),
            ("a=rx", 0o7777, false, 0o1555),
            ("a=rxt", 0o6777, true, 0o1555),
            ("g=u", 0o700, false, 0o770),
            ("go=u-w", 0o700, false, 0o755),
            ("go=", 0o755, false, 0o700),
            ("u+x,g=u", 0o640, false, 0o770),
            ("=r", 0o777, false, 0o444),
        ] {
            let change = ModeChange::parse(text).unwrap();
            let changed = change.apply(mode, directory);
            assert_eq!(changed, expected, "{text} on {mode:o} is {changed:o}");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for wrong in [
            "", "9", "77777", "0x1", "7 7", "u", "u=rwz", "x+r", "+y", "u+x,", ",u+x", "u+é",
        ] {
            assert!(ModeChange::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parents_take_a_number_and_not_its_set_id_bits() {
        let of_parents = |text| ModeChange::parse(text).unwrap().of_parents();
        assert_eq!(of_parents("4711"), Some(0o711));
        assert_eq!(of_parents("a-w"), None);
    }
}
