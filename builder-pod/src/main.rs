//! Entry point of the builder.

fn main() {}
