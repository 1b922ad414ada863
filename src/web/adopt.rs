//! Why an adoption was refused, in the words of the API.

use super::create;
use super::error::ApiError;
use crate::model::{Kind, PublicId};
use crate::store::subjects::AdoptError;

/// Says what to do about it; `place` is the field that names the place in the
/// world that is in the herd already.
pub fn refused(kind: Kind, place: &str, error: AdoptError) -> ApiError {
    match error {
        AdoptError::Duplicate(id) => {
            let id = PublicId::new(kind, id);
            let message = format!("this {kind} is in the herd already: it is {id}");
            ApiError::conflict("already_adopted", message).field(place)
        }
        AdoptError::NameTaken(id) => create::taken(PublicId::new(kind, id)),
        AdoptError::NoServer => ApiError::not_found(
            "no such server: it never was, was forgotten, or is being destroyed; adopt it first",
        )
        .field("server"),
        AdoptError::Made(id) => {
            let id = PublicId::new(Kind::Server, id);
            let message = format!(
                "drover made {id} and what is on it, which is its customers': \
                 only databases on servers of your own are adopted"
            );
            ApiError::conflict("made_by_drover", message).field("server")
        }
        AdoptError::RoleTaken(id) => {
            let id = PublicId::new(Kind::Resource, id);
            let message = format!(
                "{id} has this role there, with another password: adopt this database as a role \
                 of its own, or forget {id} first"
            );
            ApiError::conflict("role_taken", message).field("user")
        }
        AdoptError::NoTier => create::no_tier(),
        AdoptError::Seal(error) => error.into(),
        AdoptError::Database(error) => error.into(),
    }
}
