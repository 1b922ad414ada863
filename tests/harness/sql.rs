//! The tests' own SQL: what they read in the record and what they change in it past
//! drover. What fails, fails the test.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, Decode, Encode, FromRow, PgExecutor, Postgres, SqlSafeStr, Type};

/// What stands for `$1`, `$2` … in a statement: `()`, an array, or a tuple.
pub trait Binds {
    /// Adds all of it, in order.
    fn add_to(self, arguments: &mut PgArguments);
}

impl Binds for () {
    fn add_to(self, _: &mut PgArguments) {}
}

impl<'q, T: Encode<'q, Postgres> + Type<Postgres>, const N: usize> Binds for [T; N] {
    fn add_to(self, arguments: &mut PgArguments) {
        for value in self {
            arguments.add(value).expect("it can be encoded");
        }
    }
}

macro_rules! tuples_bind {
    ($(($($name:ident)+))+) => {$(
        impl<'q, $($name: Encode<'q, Postgres> + Type<Postgres>),+> Binds for ($($name),+) {
            #[expect(non_snake_case, reason = "each value is called like its type")]
            fn add_to(self, arguments: &mut PgArguments) {
                let ($($name),+) = self;
                $(arguments.add($name).expect("it can be encoded");)+
            }
        }
    )+};
}

tuples_bind!((A B) (A B C) (A B C D) (A B C D E) (A B C D E F));

fn bound(binds: impl Binds) -> PgArguments {
    let mut arguments = PgArguments::default();
    binds.add_to(&mut arguments);
    arguments
}

fn done<T>(done: sqlx::Result<T>, sql: &str) -> T {
    done.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// Changes something; tells how many rows.
///
/// # Panics
/// If the database refuses.
pub async fn run(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> u64 {
    let sql = sql.into_sql_str();
    let text = sql.as_str().to_owned();
    let query = sqlx::query_with(sql, bound(binds));
    done(query.execute(db).await, &text).rows_affected()
}

/// All rows.
///
/// # Panics
/// If the database refuses, or they are of another type.
pub async fn rows<T>(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> Vec<T>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let sql = sql.into_sql_str();
    let text = sql.as_str().to_owned();
    let query = sqlx::query_as_with(sql, bound(binds));
    done(query.fetch_all(db).await, &text)
}

/// The first row, if there is one.
///
/// # Panics
/// As [`rows`].
pub async fn first<T>(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> Option<T>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let sql = sql.into_sql_str();
    let text = sql.as_str().to_owned();
    let query = sqlx::query_as_with(sql, bound(binds));
    done(query.fetch_optional(db).await, &text)
}

/// The first row.
///
/// # Panics
/// As [`rows`], and if there is none.
pub async fn row<T>(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> T
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    first(db, sql, binds).await.expect("a row")
}

/// The value in the only column of the first row.
///
/// # Panics
/// As [`row`].
pub async fn scalar<T>(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> T
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
{
    row::<(T,)>(db, sql, binds).await.0
}

/// The values in the only column.
///
/// # Panics
/// As [`rows`].
pub async fn scalars<T>(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> Vec<T>
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
{
    let found: Vec<(T,)> = rows(db, sql, binds).await;
    found.into_iter().map(|(value,)| value).collect()
}
