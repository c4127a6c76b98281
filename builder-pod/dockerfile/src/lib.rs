//! The Dockerfile frontend: lexer, parser, instructions, diagnostics.
