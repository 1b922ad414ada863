//! A machine's own time of day; its monotonic clock goes on as the host's.

use std::fs;

use super::{Machine, root};
use crate::run::tool;

/// The library, which the host's C compiler makes.
const LIBRARY: &str = include_str!("clock.c");

impl Machine {
    /// Moves its wall clock by seconds, for the processes that start from now on, and those
    /// that started while it was moved already.
    ///
    /// # Errors
    /// If there is no C compiler, or its root cannot be written.
    pub async fn set_clock(&self, offset: i64) -> anyhow::Result<()> {
        let mut input = offset.to_ne_bytes().to_vec();
        let state = if offset == 0 { "off" } else { "on" };
        if offset != 0 {
            let library = self.folder.join("clock.so");
            tool("cc")
                .line("-shared -fPIC -O2 -x c - -o")
                .args([&library])
                .input(LIBRARY)
                .run()
                .await?;
            input.extend(fs::read(library)?);
        }
        // Not from outside: a link of the machine's could lead to a file of the host's.
        tool("chroot")
            .args([root::root(&self.folder)])
            .args(["/bin/sh", "-euc", include_str!("clock.sh"), "clock", state])
            .input(input)
            .run()
            .await?;
        Ok(())
    }
}
