//! The `drover` command as a person uses it.
