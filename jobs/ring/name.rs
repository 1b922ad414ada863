//! Worker names, unique per start.

use drover::store::queue::Queue;

/// The name of one worker's one life. A worker that came back under its old
/// name would hide the tokens of its former life from rescue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerName(String);

impl WorkerName {
    /// A name for a worker that starts now: `feel@host:pid:nonce`.
    pub fn new(queue: Queue) -> Self {
        let host = gethostname::gethostname();
        let host: String = host.to_string_lossy().chars().take(60).collect();
        let nonce: u32 = rand::random();
        Self(format!("{queue}@{host}:{}:{nonce:08x}", std::process::id()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_lives_share_a_name() {
        assert_ne!(WorkerName::new(Queue::Feel), WorkerName::new(Queue::Feel));
    }
}
