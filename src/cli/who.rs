//! A subject as people name it: by its id or by its name.

use std::str::FromStr;

use drover::api::{Page, SubjectCore};
use drover::client::Client;
use drover::model::{Kind, PublicId};

use super::Failure;

/// What stands on the command line.
#[derive(Clone, Debug)]
pub enum Who {
    /// `srv_…` or `db_…`.
    Id(PublicId),
    /// The name of a server or a resource.
    Name(String),
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<PublicId>() {
            Ok(id) => Ok(Who::Id(id)),
            Err(error) => {
                let prefixed = Kind::ALL.iter().any(|kind| text.starts_with(kind.prefix()));
                let inside =
                    |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
                let name = (1..=63).contains(&text.len()) && text.bytes().all(inside);
                if name && !prefixed {
                    Ok(Who::Name(text.to_owned()))
                } else {
                    Err(error.to_string())
                }
            }
        }
    }
}

impl Who {
    /// Its id; a name is looked up.
    ///
    /// # Errors
    /// If nobody bears the name, or a server and a resource both do.
    pub async fn find(self, client: &Client) -> Result<PublicId, Failure> {
        let name = match self {
            Who::Id(id) => return Ok(id),
            Who::Name(name) => name,
        };
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let path = format!("/v1/{kind}s?name={name}");
            let page: Page<SubjectCore> = client.get(&path).await?;
            found.extend(page.items.first().map(|subject| subject.id));
        }
        match found[..] {
            [id] => Ok(id),
            [] => Err(Failure::Failed(format!(
                "no server and no resource is named `{name}`"
            ))),
            _ => {
                let ids: Vec<String> = found.iter().map(PublicId::to_string).collect();
                let ids = ids.join(" or ");
                Err(Failure::Failed(format!(
                    "`{name}` is a server and a resource; say {ids}"
                )))
            }
        }
    }
}
