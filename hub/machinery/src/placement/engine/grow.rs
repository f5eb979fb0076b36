//! Vectors that grow by a sixteenth: half of a doubled one would be empty, and these have one place per cluster.

/// Appends, leaving at most a sixteenth of the places empty.
pub(super) fn push_tight<T>(all: &mut Vec<T>, one: T) {
    if all.len() == all.capacity() {
        all.reserve_exact((all.len() / 16).max(16));
    }
    all.push(one);
}
