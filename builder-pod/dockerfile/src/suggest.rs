//! Finds the name that was probably meant.
//!
//! Invariant: a name that is not near is no suggestion: a wrong one is worse than none.

/// The candidate written most alike, if any is near: one edit for every three characters, ignoring case.
/// Swapped neighbours count as one edit.
#[must_use]
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = wanted.chars().count();
    let limit = length.div_ceil(3).min(3);
    // What is longer by more than the limit is not near, however long it is: it may be a whole file.
    let may_be_near = |candidate: &&str| candidate.chars().count().abs_diff(length) <= limit;
    let best = candidates
        .into_iter()
        .filter(may_be_near)
        .map(|candidate| {
            (
                distance(&wanted.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .min_by_key(|(distance, _)| *distance);
    best.filter(|(distance, _)| *distance <= limit)
        .map(|(_, candidate)| candidate)
}

/// Edits that make one text of the other (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=left.len() {
        for j in 1..=right.len() {
            let same = left[i - 1] == right[j - 1];
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + usize::from(!same));
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_too_long_is_not_compared() {
        let long = "RUN".repeat(1 << 20);
        assert_eq!(nearest(&long, ["RUN", "ENTRYPOINT"]), None);
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("biulder", ["builder", "base"]), Some("builder"));
        assert_eq!(nearest("COPPY", ["COPY", "CMD"]), Some("COPY"));
        assert_eq!(nearest("frm", ["FROM", "ARG"]), Some("FROM"));
        assert_eq!(nearest("nginx", ["builder", "base"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
