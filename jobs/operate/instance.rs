//! A server as an instance of its cloud: the steps that several operations share.
