//! Real machines: made, used and destroyed. Needs root, see `drover-machines check`; those in
//! `processes` do not.

mod clock;
mod daemon;
mod disks;
mod harness;
mod login;
mod network;
mod power;
mod processes;
