//! The build plan: what a Dockerfile means, before anything is done.
