//! `stop_start`.

use super::{Book, Step, Turn, Work, unknown};

pub(super) const BOOK: Book = Book {
    steps: &[Step::new("begin", "begin")],
    creates: false,
};

pub(super) async fn perform(turn: &Turn<'_>) -> Work {
    unknown(turn.step)
}
