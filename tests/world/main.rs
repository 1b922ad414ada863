//! The workers' parts in this process, on real databases, servers and clouds: what
//! is felt, thought and told, the laws that the record keeps, and what clouds promise.

mod clouds;
mod feel;
mod laws;
mod notify;
mod replay;
