//! `create_server`.

use super::{Book, Step, Turn, Work, unknown};

pub(super) const BOOK: Book = Book {
    steps: &[Step::new("begin", "begin")],
    creates: true,
};

pub(super) async fn perform(turn: &Turn<'_>) -> Work {
    unknown(turn.step)
}
