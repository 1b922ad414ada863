//! `rotate_password`: the customer gets another password. It comes with the
//! operation, sealed, so that a step that is done again sets the same one.

use drover::model::{ExposeSecret, OperationKind};
use drover::store::operations::Fact;
use postgres_protocol::password::scram_sha_256;

use super::kind::{NoMemo, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::script;
use crate::host::scripts::SET_PASSWORD;

/// A customer gets another password.
pub(super) struct RotatePassword;

impl Operation for RotatePassword {
    type Params = NoParams;
    type Memo = NoMemo;
    const KIND: OperationKind = OperationKind::RotatePassword;
    const STEPS: &'static [Step<Self>] = &[step!("set", "set it" => set)];
}

/// The server gets a verifier of it: the password itself is in nothing that
/// PostgreSQL could write down.
async fn set(turn: &mut Turn<'_, RotatePassword>) -> Work {
    let (resource, server) = turn.resource()?;
    let name = &resource.subject.name;
    let Some(customer) = &resource.customer else {
        return Err(Outcome::hopeless(format!(
            "{name} was adopted: drover knows no role of its customer's"
        )));
    };
    let operation = turn.operation;
    let sealed = operation
        .secret
        .as_deref()
        .ok_or_else(|| Outcome::hopeless("it was asked for without a password"))?;
    let key = &turn.tools.secret_key;
    let password = key
        .open(sealed, &format!("{}/secret", operation.id))
        .map_err(|e| Outcome::hopeless(e.to_string()))?;
    let keep = key
        .seal(&password, &format!("{}/customer", resource.subject.id))
        .map_err(|e| Outcome::hopeless(e.to_string()))?;
    let verifier = scram_sha_256(password.expose_secret().as_bytes());
    let input = format!("\\set verifier '{verifier}'\n");
    let role = customer.role.as_str();
    let on = (resource, server);
    script::at_cluster(turn, on, SET_PASSWORD, &[role], input.as_bytes()).await?;
    Ok(Outcome::done(format!("{role} has its new password")).with(Fact::CustomerPassword(keep)))
}
