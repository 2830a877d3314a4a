//! The heartbeat: announcements of a tower that has nothing to send, which find lost peers.

use super::Tower;
use crate::link::Payload;

impl Tower {
    /// Announces this tower to one drawn peer if nothing was sent for a heartbeat.
    pub(super) fn on_heartbeat(&mut self) {
        let (Some(heartbeat), Some(due)) = (self.local.config.heartbeat, self.heartbeat_at) else {
            return;
        };
        if due > self.now || !self.phase.is_running() {
            return;
        }
        let quiet_until = self.last_sent.map(|last| last + heartbeat);
        if let Some(later) = quiet_until.filter(|later| *later > self.now) {
            self.heartbeat_at = Some(later);
            return;
        }
        self.heartbeat_at = Some(self.now + heartbeat);
        if let Some(peer) = self.draw() {
            self.hand_to(peer, Payload::Announce);
        }
    }
}
