//! What AWS says when it does not do what it was asked, in the words that the work
//! goes by.

use std::error::Error;

use anyhow::anyhow;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

use crate::cloud::CloudError;

/// Characters of an error that are kept.
const LONGEST: usize = 600;

/// What stands before what AWS has encoded, in its own words.
const ENCODED: &str = "Encoded authorization failure message:";

/// A call that failed.
#[derive(Debug)]
pub(super) struct Problem {
    /// AWS's word for it; empty if AWS did not answer.
    pub(super) code: String,
    /// For people.
    pub(super) message: String,
    /// What kind of failure it is.
    pub(super) sort: Sort,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Another zone or size may do.
    NoCapacity,
    /// Too much was asked.
    Throttled,
    /// Only a human can change that.
    Refused,
    /// Anything else.
    Failed,
}

impl Problem {
    /// Whether the thing that was asked about is not there.
    pub(super) fn not_found(&self) -> bool {
        self.code.ends_with(".NotFound")
    }

    /// What AWS has encoded of its reasons.
    pub(super) fn encoded(&self) -> Option<&str> {
        let (_, encoded) = self.message.split_once(ENCODED)?;
        encoded.split_whitespace().next()
    }

    /// The same, with what the encoded part says, or else how to find out.
    pub(super) fn explained(mut self, decoded: Option<String>) -> Self {
        if let Some((before, _)) = self.message.split_once(ENCODED) {
            let why = decoded.unwrap_or_else(|| {
                "the reason is encoded, and drover may not decode it: allow \
                 sts:DecodeAuthorizationMessage, or look into CloudTrail"
                    .into()
            });
            self.message = format!("{} {why}", before.trim_end());
        }
        self
    }
}

impl From<Problem> for CloudError {
    fn from(problem: Problem) -> Self {
        let message = shortened(&problem.message);
        match problem.sort {
            Sort::NoCapacity => CloudError::NoCapacity(message),
            Sort::Refused => CloudError::Refused(message),
            // `Region::ask` has said for how long; this is for what goes round it.
            Sort::Throttled | Sort::Failed => CloudError::Failed(anyhow!(message)),
        }
    }
}

/// What a failed call means; `doing` is AWS's name of the call.
pub(super) fn judge<E>(doing: &str, error: &SdkError<E>) -> Problem
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        return unanswered(doing, error);
    };
    let code = answer.err().code().unwrap_or_default();
    // Where an answer has both, a word for who is to blame stands before it.
    let code = code
        .trim_start_matches("Client.")
        .trim_start_matches("Server.");
    let said = answer.err().message().unwrap_or("without a word").trim();
    let status = answer.raw().status().as_u16();
    let message = match code {
        "" => format!("{doing}: {said} (HTTP {status})"),
        code => format!("{doing}: {said} ({code})"),
    };
    Problem {
        sort: sort(code, status),
        code: code.to_owned(),
        message,
    }
}

fn sort(code: &str, status: u16) -> Sort {
    match code {
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InsufficientCapacity"
        | "InsufficientVolumeCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "ReservationCapacityExceeded" => Sort::NoCapacity,
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "EC2ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "BandwidthLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown"
        | "ServiceUnavailable"
        | "Unavailable" => Sort::Throttled,
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "OptInRequired"
        | "Blocked"
        | "PendingVerification"
        | "OperationNotPermitted"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "NoSuchEntity"
        | "VPCIdNotSpecified"
        | "Unsupported"
        | "UnsupportedOperation"
        | "MissingParameter" => Sort::Refused,
        quota if quota.ends_with("LimitExceeded") => Sort::Refused,
        // A setting names what is not there, or does not fit.
        setting
            if [
                "InvalidAMIID",
                "InvalidSubnet",
                "InvalidGroup",
                "InvalidSecurityGroup",
            ]
            .iter()
            .any(|word| setting.starts_with(word)) =>
        {
            Sort::Refused
        }
        parameter if parameter.starts_with("InvalidParameter") => Sort::Refused,
        _ if status == 503 || status == 429 => Sort::Throttled,
        _ => Sort::Failed,
    }
}

/// AWS has not answered, or was not even asked.
fn unanswered(doing: &str, error: &(dyn Error + 'static)) -> Problem {
    let credentials = chain(error).find_map(|e| e.downcast_ref::<CredentialsError>());
    let words = words(error);
    let (sort, message) = match credentials {
        None => (
            Sort::Failed,
            format!("{doing}: no answer of AWS's: {words}"),
        ),
        // The last place to look is the machine's own role, and where the machine has
        // none to give that is an error rather than an empty answer.
        Some(
            CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_),
        ) => (Sort::Refused, format!("no AWS credentials: {words}")),
        Some(CredentialsError::ProviderError(_)) if words.contains("IMDS is disabled") => {
            (Sort::Refused, format!("no AWS credentials: {words}"))
        }
        Some(_) => (
            Sort::Failed,
            format!("AWS credentials cannot be got: {words}"),
        ),
    };
    Problem {
        code: String::new(),
        message,
        sort,
    }
}

/// An error, and what caused it.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |e| {
        let e: &'a (dyn Error + 'static) = *e;
        e.source()
    })
}

/// An error and what caused it, each word of them once.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in chain(error) {
        let part = part.to_string();
        if !parts.iter().any(|known| known.contains(&part)) {
            parts.push(part);
        }
    }
    shortened(&parts.join(": "))
}

fn shortened(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(LONGEST).collect()
}

/// What AWS says of an encoded failure: a JSON document.
pub(super) fn read_decoded(text: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_str(text).ok()?;
    let word = |at: &str| document.pointer(at).and_then(|value| value.as_str());
    let (action, resource) = (word("/context/action")?, word("/context/resource")?);
    let who = word("/context/principal/arn").unwrap_or("it");
    let why = match document["explicitDeny"].as_bool() {
        Some(true) => "a policy denies it",
        Some(false) | None => "no policy allows it",
    };
    Some(format!("{who} may not {action} on {resource}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_kind() {
        for (code, status, expected) in [
            ("InsufficientInstanceCapacity", 500, Sort::NoCapacity),
            ("RequestLimitExceeded", 503, Sort::Throttled),
            ("", 503, Sort::Throttled),
            ("VcpuLimitExceeded", 400, Sort::Refused),
            ("MaxIOPSLimitExceeded", 400, Sort::Refused),
            ("InvalidAMIID.NotFound", 400, Sort::Refused),
            ("UnauthorizedOperation", 403, Sort::Refused),
            ("IncorrectInstanceState", 400, Sort::Failed),
            ("InvalidInstanceID.NotFound", 400, Sort::Failed),
            ("InternalError", 500, Sort::Failed),
        ] {
            assert_eq!(sort(code, status), expected, "{code} {status}");
        }
    }

    #[test]
    fn what_aws_has_encoded_is_replaced_by_what_it_means() {
        let problem = || Problem {
            code: "UnauthorizedOperation".into(),
            message: format!("RunInstances: You are not authorized. {ENCODED} aBcD-e_f (Unauth…)"),
            sort: Sort::Refused,
        };
        assert_eq!(problem().encoded(), Some("aBcD-e_f"));
        let document = r#"{"allowed": false, "explicitDeny": false, "context": {
            "principal": {"id": "AIDA:x", "arn": "arn:aws:iam::1:user/drover"},
            "action": "ec2:RunInstances", "resource": "arn:aws:ec2:::volume/*"}}"#;
        let told = problem().explained(read_decoded(document)).message;
        assert_eq!(
            told,
            "RunInstances: You are not authorized. arn:aws:iam::1:user/drover may not \
             ec2:RunInstances on arn:aws:ec2:::volume/*: no policy allows it"
        );
        let told = problem().explained(read_decoded("{}")).message;
        assert!(told.contains("sts:DecodeAuthorizationMessage") && !told.contains("aBcD"));
    }
}
