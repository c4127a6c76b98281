//! The runner and its fake-root supervisor.
