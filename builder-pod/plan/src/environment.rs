//! An environment: names and values in the order in which they were set.
//!
//! Invariant: a name occurs once; setting it again moves it to the end, as BuildKit's state does. The order is what
//! `env` prints inside a `RUN`.

/// Names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    /// The value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Sets a name, replacing its value.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.into()));
    }

    /// Sets a name unless it has a value.
    pub(crate) fn set_default(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    /// Every name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// `NAME=value` lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

/// Splits `NAME=value`; a line without `=` is a name with an empty value.
pub(crate) fn name_and_value(line: &str) -> (&str, &str) {
    line.split_once('=').unwrap_or((line, ""))
}

/// Sets a name in a configuration's environment, where it keeps its position.
pub(crate) fn set_line(lines: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}={value}");
    match lines.iter_mut().find(|line| name_and_value(line).0 == name) {
        Some(found) => *found = line,
        None => lines.push(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_again_moves_to_the_end_of_an_environment_but_not_of_a_configuration() {
        let mut environment = Environment::default();
        for (name, value) in [("A", "1"), ("B", "2"), ("A", "3")] {
            environment.set(name, value);
        }
        environment.set_default("B", "4");
        assert_eq!(environment.lines(), ["B=2", "A=3"]);

        let mut lines = vec!["A=1".to_owned(), "BARE".to_owned()];
        set_line(&mut lines, "A", "3");
        set_line(&mut lines, "BARE", "x=y");
        assert_eq!(lines, ["A=3", "BARE=x=y"]);
    }
}
