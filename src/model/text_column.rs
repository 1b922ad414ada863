//! Types that the database holds as text.

/// Binds a type to a text column, by its `Display`, and reads it back by its
/// `FromStr`. What cannot be read back is named in the error; sqlx names the column.
macro_rules! text_column {
    ($name:ident) => {
        $crate::model::text_column!(bind $name);

        impl<'r> sqlx::Decode<'r, sqlx::Postgres> for $name {
            fn decode(
                value: sqlx::postgres::PgValueRef<'r>,
            ) -> Result<Self, sqlx::error::BoxDynError> {
                let text = <&str as sqlx::Decode<sqlx::Postgres>>::decode(value)?;
                text.parse()
                    .map_err(|e| format!("`{text}` is no {}: {e}", stringify!($name)).into())
            }
        }
    };
    // One that is only written.
    (bind $name:ident) => {
        impl sqlx::Type<sqlx::Postgres> for $name {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                <String as sqlx::Type<sqlx::Postgres>>::type_info()
            }

            fn compatible(column: &sqlx::postgres::PgTypeInfo) -> bool {
                <String as sqlx::Type<sqlx::Postgres>>::compatible(column)
            }
        }

        impl sqlx::postgres::PgHasArrayType for $name {
            fn array_type_info() -> sqlx::postgres::PgTypeInfo {
                <String as sqlx::postgres::PgHasArrayType>::array_type_info()
            }
        }

        impl sqlx::Encode<'_, sqlx::Postgres> for $name {
            fn encode_by_ref(
                &self,
                to: &mut sqlx::postgres::PgArgumentBuffer,
            ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                <String as sqlx::Encode<sqlx::Postgres>>::encode(self.to_string(), to)
            }
        }
    };
}
pub(crate) use text_column;

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgArgumentBuffer;
    use sqlx::{Encode, Postgres, Type};

    use crate::model::{IncidentState, SubjectId, Window};

    fn written<T: for<'q> Encode<'q, Postgres>>(value: T) -> String {
        let mut buffer = PgArgumentBuffer::default();
        assert!(!value.encode(&mut buffer).unwrap().is_null());
        String::from_utf8(buffer.to_vec()).unwrap()
    }

    #[test]
    fn it_is_written_as_people_read_it() {
        let id = SubjectId::generate();
        assert_eq!(written(id), id.to_string());
        assert_eq!(written(IncidentState::NeedsHuman), "needs_human");
        assert_eq!(written(Window::default()), "sun 03:00 UTC");
        assert!(SubjectId::compatible(&String::type_info()));
        assert!(!SubjectId::compatible(&i64::type_info()));
    }
}
