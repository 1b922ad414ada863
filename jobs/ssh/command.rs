//! One command in a session: its input, its output, its end.

use std::pin::pin;
use std::time::SystemTime;

use bytes::Bytes;
use drover::model::Cause;
use russh::ChannelMsg;
use tokio::sync::oneshot;

use super::connect::Session;
use super::{Input, Output, SshError};

pub(super) async fn run(
    session: &Session,
    command: &str,
    Input { first, then }: Input<'_>,
    limit: usize,
) -> Result<Output, SshError> {
    let channel = session
        .handle
        .channel_open_session()
        .await
        .map_err(|e| session.error(e, "when asked for a session"))?;
    let sent_at = SystemTime::now();
    channel
        .exec(true, command)
        .await
        .map_err(|e| session.error(e, "when given a command"))?;

    let (mut reading, writing) = channel.split();
    // At the same time as reading: a command may answer before it has read all.
    // That it closes its input early is its own affair; its end says how it went.
    let (tell, told) = oneshot::channel();
    let (mut answer, rest) = then.unzip();
    let mut tell = Some(tell);
    let written = async {
        if let Some(first) = first {
            let _ = writing.data_bytes(Bytes::copy_from_slice(first)).await;
            if let Some(rest) = rest {
                let Ok(answered) = told.await else { return };
                let _ = writing.data_bytes(Bytes::from(answered)).await;
                let _ = writing.data_bytes(Bytes::copy_from_slice(rest)).await;
            }
            let _ = writing.eof().await;
        }
    };
    let mut written = pin!(written);
    let mut all_written = first.is_none();

    let mut output = Output {
        status: None,
        stdout: vec![],
        stderr: vec![],
        sent_at,
        answered_at: sent_at,
    };
    let (mut answered, mut ended, mut eof) = (false, false, false);
    loop {
        let message = tokio::select! {
            message = reading.wait() => message,
            () = &mut written, if !all_written => {
                all_written = true;
                continue;
            }
        };
        let Some(message) = message else { break };
        let mut take = |data: &[u8], stdout: bool| {
            if !answered {
                answered = true;
                output.answered_at = SystemTime::now();
            }
            let into = if stdout {
                &mut output.stdout
            } else {
                &mut output.stderr
            };
            into.extend_from_slice(data);
        };
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a dozen messages mean nothing to the client of one command"
        )]
        match message {
            ChannelMsg::Data { data } => take(&data, true),
            ChannelMsg::ExtendedData { data, .. } => take(&data, false),
            ChannelMsg::ExitStatus { exit_status } => {
                output.status = Some(exit_status);
                ended = true;
            }
            ChannelMsg::ExitSignal { .. } => ended = true,
            ChannelMsg::Eof => eof = true,
            ChannelMsg::Close => (ended, eof) = (true, true),
            ChannelMsg::Failure => {
                let message = format!("{} refuses to run commands", session.at);
                return Err(SshError::new(Cause::Protocol, message));
            }
            _ => {}
        }
        if let Some(answered) = answer.and_then(|answer| answer(&output.stdout)) {
            answer = None;
            if let Some(tell) = tell.take() {
                let _ = tell.send(answered);
            }
        }
        if output.stdout.len() + output.stderr.len() > limit {
            let message = format!("{} answered with more than {limit} bytes", session.at);
            return Err(SshError::new(Cause::Protocol, message));
        }
        if ended && eof {
            break;
        }
    }
    if !ended {
        return Err(SshError::new(
            Cause::Disconnected,
            format!("{} closed the connection while the command ran", session.at),
        ));
    }
    if !answered {
        output.answered_at = SystemTime::now();
    }
    Ok(output)
}
