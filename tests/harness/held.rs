//! What is written down of steps, held: for what has to happen within one.

use sqlx::{PgPool, Postgres, Transaction};

use crate::{PATIENCE, records, sql, until, when};

/// As long as it lives, nothing is written down of a step that has ended.
pub struct Held {
    transaction: Transaction<'static, Postgres>,
}

impl Held {
    /// From now on, for whoever ends this step.
    pub async fn behind(pool: &PgPool, step: &str) -> Self {
        for sql in [
            "create table if not exists held_steps (name text)",
            "create or replace function held() returns trigger language plpgsql as
                 'begin
                      if exists (select from held_steps where name = old.step_name) then
                          perform pg_advisory_xact_lock(77);
                      end if;
                      return new;
                  end'",
            "create or replace trigger held before update of step on operations for each row
                 when (old.step <> new.step) execute function held()",
        ] {
            sql::run(pool, sql, ()).await;
        }
        let mut transaction = pool.begin().await.unwrap();
        // It stands for as long as a scene wants, which is longer than drover lets its own.
        let sql = "set local idle_in_transaction_session_timeout = 0;
             select pg_advisory_xact_lock(77)";
        sql::batch(&mut *transaction, sql).await;
        let sql = "insert into held_steps values ($1)";
        sql::run(pool, sql, [step]).await;
        Self { transaction }
    }

    /// Until it has ended.
    pub async fn met(&self, pool: &PgPool) {
        let met = until("a step has ended", PATIENCE, || async {
            let sql = "select count(*) from pg_locks where locktype = 'advisory' and not granted
                 and objid = 77";
            let waiting: i64 = sql::scalar(pool, sql, ()).await;
            when(waiting > 0, waiting)
        });
        if let Err(e) = met.await {
            panic!("{e}\n{}", records::timeline(pool).await);
        }
    }

    /// It is written down.
    pub async fn release(self) {
        self.transaction.rollback().await.unwrap();
    }
}
