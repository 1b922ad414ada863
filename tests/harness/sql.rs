//! The tests' own SQL: what they read in the record and what they change in it past
//! drover. What fails, fails the test.

use std::fmt::Debug;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{
    Arguments, Decode, Encode, FromRow, PgExecutor, PgPool, Postgres, SqlSafeStr, SqlStr, Type,
};

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

/// The statement, and its text for whoever reads that it failed.
fn known(sql: impl SqlSafeStr) -> (SqlStr, String) {
    let sql = sql.into_sql_str();
    let text = sql.as_str().to_owned();
    (sql, text)
}

/// Changes something; tells how many rows.
pub async fn run(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> u64 {
    let (sql, text) = known(sql);
    let done = sqlx::query_with(sql, bound(binds)).execute(db).await;
    done.unwrap_or_else(|e| panic!("{text}: {e}"))
        .rows_affected()
}

/// Has several statements done.
pub async fn batch(db: impl PgExecutor<'_>, sql: impl SqlSafeStr) {
    let (sql, text) = known(sql);
    let done = sqlx::raw_sql(sql).execute(db).await;
    done.unwrap_or_else(|e| panic!("{text}: {e}"));
}

/// All rows.
///
/// # Panics
/// If the database refuses, or they are of another type.
pub async fn rows<T>(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> Vec<T>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let (sql, text) = known(sql);
    let query = sqlx::query_as_with(sql, bound(binds));
    let found = query.fetch_all(db).await;
    found.unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The first row, if there is one.
pub async fn first<T>(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> Option<T>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    rows(db, sql, binds).await.into_iter().next()
}

/// The first row.
///
/// # Panics
/// As [`rows`], and if there is none.
pub async fn row<T>(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> T
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let (sql, text) = known(sql);
    let found = first(db, sql, binds).await;
    found.unwrap_or_else(|| panic!("{text}: no row"))
}

/// The value in the only column of the first row.
pub async fn scalar<T>(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> T
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
{
    row::<(T,)>(db, sql, binds).await.0
}

/// The values in the only column.
pub async fn scalars<T>(db: impl PgExecutor<'_>, sql: impl SqlSafeStr, binds: impl Binds) -> Vec<T>
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
{
    let found: Vec<(T,)> = rows(db, sql, binds).await;
    found.into_iter().map(|(value,)| value).collect()
}

/// Waits until the one value that a statement gives is as it should be, and gives it.
pub async fn until<T>(
    db: &PgPool,
    what: &str,
    deadline: Duration,
    sql: &'static str,
    is: impl Fn(&T) -> bool,
) -> T
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin + Debug,
{
    let found = crate::until(what, deadline, || async {
        let (value,): (T,) = sqlx::query_as(sql).fetch_one(db).await?;
        crate::when(is(&value), value)
    });
    found.await.expect("in time").0
}

/// Has each of these statements refused, because what was written there stays so.
pub async fn cannot_be_changed(db: &PgPool, statements: &[&str]) {
    for statement in statements {
        let sql = sqlx::AssertSqlSafe(*statement);
        let refused = sqlx::query(sql).execute(db).await;
        let refused = refused.expect_err(statement).to_string();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
}
