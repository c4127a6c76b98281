//! The engine: plans, builds and pushes an image.
