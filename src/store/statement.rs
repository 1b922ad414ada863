//! What most statements have in common: values that go in one after the other, and an end
//! that is only looked at for whether it came.

use std::future::Future;

use sqlx::postgres::PgArguments;
use sqlx::query::{Query, QueryAs, QueryScalar};
use sqlx::{Encode, PgConnection, Postgres, Type};

/// A value that a statement takes.
pub(super) trait Value<'q>: 'q + Encode<'q, Postgres> + Type<Postgres> {}

impl<'q, T: 'q + Encode<'q, Postgres> + Type<Postgres>> Value<'q> for T {}

/// A statement that takes values.
pub(super) trait Bind<'q>: Sized {
    /// One more.
    fn bind_one(self, value: impl Value<'q>) -> Self;

    /// A tuple of them: `$1`, `$2` and so on, as they stand in it.
    fn bind_all(self, values: impl Values<'q>) -> Self {
        values.bind_to(self)
    }
}

impl<'q> Bind<'q> for Query<'q, Postgres, PgArguments> {
    fn bind_one(self, value: impl Value<'q>) -> Self {
        self.bind(value)
    }
}

impl<'q, O> Bind<'q> for QueryAs<'q, Postgres, O, PgArguments> {
    fn bind_one(self, value: impl Value<'q>) -> Self {
        self.bind(value)
    }
}

impl<'q, O> Bind<'q> for QueryScalar<'q, Postgres, O, PgArguments> {
    fn bind_one(self, value: impl Value<'q>) -> Self {
        self.bind(value)
    }
}

/// A tuple of values.
pub(super) trait Values<'q> {
    fn bind_to<Q: Bind<'q>>(self, to: Q) -> Q;
}

macro_rules! values {
    ($(($($name:ident)+))+) => {$(
        impl<'q, $($name: Value<'q>),+> Values<'q> for ($($name,)+) {
            #[allow(non_snake_case, reason = "one name is a type and its value")]
            fn bind_to<Q: Bind<'q>>(self, to: Q) -> Q {
                let ($($name,)+) = self;
                to$(.bind_one($name))+
            }
        }
    )+};
}
values! {
    (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
}

/// A statement that gives no rows.
pub(super) trait Statement {
    /// Tells how many rows it touched.
    fn count(self, db: &mut PgConnection) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Does it, whatever it touches.
    fn run(self, db: &mut PgConnection) -> impl Future<Output = sqlx::Result<()>> + Send;
}

impl Statement for Query<'_, Postgres, PgArguments> {
    async fn count(self, db: &mut PgConnection) -> sqlx::Result<u64> {
        Ok(self.execute(db).await?.rows_affected())
    }

    async fn run(self, db: &mut PgConnection) -> sqlx::Result<()> {
        self.execute(db).await.map(drop)
    }
}
