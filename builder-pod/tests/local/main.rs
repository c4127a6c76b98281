//! The engine in local mode, from the command line to the image: no cluster, no registry, no privileges.
//!
//! RUN steps use a static busybox of the machine as their whole base image.

mod errors;
mod harness;
mod images;
mod runs;
