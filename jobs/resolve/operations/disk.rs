//! What can be done about a data volume that is almost full, but for a larger one
//! (`grow`): one kind of operation for each. All of them are an incident's, and look
//! first whether there is room by now.

mod logs;
mod offender;
mod read_only;
pub(super) mod room;
mod slots;

pub(super) use logs::RemoveLogs;
pub(super) use read_only::{SetReadOnly, SetReadWrite};
pub(super) use slots::DropSlots;
