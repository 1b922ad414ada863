//! drover's real processes as the Procfile names them: the demo's story, kills at
//! random, game days, and the commands that workers are.

mod chaos;
mod gameday;
mod local_command;
mod story;
mod worker_command;
