//! `rebuild`.

use super::{Book, Step, Turn, Work, unknown};

pub(super) const BOOK: Book = Book {
    steps: &[Step::new("begin", "begin")],
    creates: false,
};

pub(super) async fn perform(turn: &Turn<'_>) -> Work {
    turn.resource()?;
    unknown(turn.step)
}
