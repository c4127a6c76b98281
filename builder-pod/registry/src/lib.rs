//! The registry client: pull, push, mirrors, credentials.
