//! End-to-end tests: harness and suites.
