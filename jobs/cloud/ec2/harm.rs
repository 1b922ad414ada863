//! Breaking an instance of EC2 on purpose.

use super::Region;
use crate::cloud::Done;

impl Region {
    /// Stops it without letting it shut down: what is in its memory is lost.
    pub(in crate::cloud) async fn cut_power(&self, instance_id: &str) -> Done {
        let call = self.ec2.stop_instances().instance_ids(instance_id);
        let call = call.force(true).send();
        self.ask("StopInstances", call).await?;
        Ok(())
    }
}
