//! How the record is asked and changed: a statement, its values, and what comes of it.

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, Decode, Encode, FromRow, PgConnection, Postgres, SqlSafeStr, Type};

/// What stands for `$1`, `$2` … in a statement: `()`, an array, or a tuple.
pub(super) trait Values {
    /// Adds all of it, in order.
    fn add_to(self, arguments: &mut PgArguments) -> Result<(), BoxDynError>;
}

impl Values for () {
    fn add_to(self, _: &mut PgArguments) -> Result<(), BoxDynError> {
        Ok(())
    }
}

impl<'q, T: Encode<'q, Postgres> + Type<Postgres>, const N: usize> Values for [T; N] {
    fn add_to(self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
        self.into_iter().try_for_each(|value| arguments.add(value))
    }
}

macro_rules! tuples {
    ($(($($name:ident)+))+) => {$(
        impl<'q, $($name: Encode<'q, Postgres> + Type<Postgres>),+> Values for ($($name),+) {
            #[expect(non_snake_case, reason = "each value is called like its type")]
            fn add_to(self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
                let ($($name),+) = self;
                $(arguments.add($name)?;)+
                Ok(())
            }
        }
    )+};
}
tuples! {
    (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
    (A B C D E F G H I) (A B C D E F G H I J) (A B C D E F G H I J K)
    (A B C D E F G H I J K L) (A B C D E F G H I J K L M) (A B C D E F G H I J K L M N)
    (A B C D E F G H I J K L M N O)
}

fn bound(values: impl Values) -> sqlx::Result<PgArguments> {
    let mut arguments = PgArguments::default();
    values.add_to(&mut arguments).map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

/// What a row of a result is read as.
pub(super) trait Row: for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T: for<'r> FromRow<'r, PgRow> + Send + Unpin> Row for T {}

/// What the only column of a result is read as.
pub(super) trait Cell: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin {}

impl<T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin> Cell for T {}

macro_rules! asks {
    ($($(#[$doc:meta])* $name:ident<$what:ident> = $query:ident.$fetch:ident -> $answer:ty;)+) => {$(
        $(#[$doc])*
        pub(super) async fn $name<T: $what>(
            db: &mut PgConnection,
            sql: impl SqlSafeStr,
            values: impl Values,
        ) -> sqlx::Result<$answer> {
            sqlx::$query(sql, bound(values)?).$fetch(db).await
        }
    )+};
}
asks! {
    /// Every row of a result.
    rows<Row> = query_as_with.fetch_all -> Vec<T>;
    /// Its first row, if it has one.
    row<Row> = query_as_with.fetch_optional -> Option<T>;
    /// Its first row, which it must have.
    only_row<Row> = query_as_with.fetch_one -> T;
    /// What is in the only column of a result, of every row.
    column<Cell> = query_scalar_with.fetch_all -> Vec<T>;
    /// The same of its first row, if it has one.
    value<Cell> = query_scalar_with.fetch_optional -> Option<T>;
    /// The same of its first row, which it must have.
    only_value<Cell> = query_scalar_with.fetch_one -> T;
}

/// Does a statement that gives no rows, whatever it touches.
pub(super) async fn run(
    db: &mut PgConnection,
    sql: impl SqlSafeStr,
    values: impl Values,
) -> sqlx::Result<()> {
    touched(db, sql, values).await.map(drop)
}

/// The same; tells how many rows it touched.
pub(super) async fn touched(
    db: &mut PgConnection,
    sql: impl SqlSafeStr,
    values: impl Values,
) -> sqlx::Result<u64> {
    let done = sqlx::query_with(sql, bound(values)?).execute(db).await?;
    Ok(done.rows_affected())
}
