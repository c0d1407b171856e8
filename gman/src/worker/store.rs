//! Writes changes to Redis, to every node in one round trip.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use super::change::{Change, Effect};
use super::log::say;
use super::redirect::Redirect;
use super::statistics::Statistics;
use crate::redis_client::{Address, Answer, Connection, Fault, Node, Refusal, Routes, pack};

/// The error of a command for another type than the key has.
const WRONG_TYPE: &str = "WRONGTYPE";

/// The error of a script that is called by its name, and was forgotten or never run.
const NO_SCRIPT: &str = "NOSCRIPT";

/// Errors of a node that may not be the right one any more.
const NOT_IN_CHARGE: [&str; 4] = ["READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS"];

/// How much room is kept between rounds.
const KEPT_BYTES: usize = 1 << 20;

/// How long a node may wait for its replicas; less than we wait for the node.
const REPLICAS_MS: &str = "1000";

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Redis has a newer one, or will.
    LeftOut,
    /// It can never be done.
    Impossible,
}

/// How many of a job's rows had which outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) done: u64,
    pub(super) left_out: u64,
    pub(super) impossible: u64,
}

impl Outcomes {
    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::LeftOut => self.left_out += 1,
            Outcome::Impossible => self.impossible += 1,
        }
    }
}

/// What became of several changes.
pub(super) struct Round {
    /// Of each; `None` if it is to be made again.
    pub(super) outcomes: Vec<Option<Outcome>>,
    /// Why changes are to be made again, unless a node has only said where they belong.
    pub(super) problem: Option<Fault>,
}

/// The connections of one writer.
pub(super) struct Store {
    routes: Arc<Routes>,
    connections: HashMap<Node, Connection>,
    /// Nodes that were connected once.
    known: HashSet<Node>,
    /// Slots that are on their way to another node: whom to ask in the next round.
    asking: HashMap<u16, Node>,
    /// How many replicas have to have a change before it counts as made.
    replicas: u16,
    /// Kept, so that sending allocates nothing, but for large rows.
    commands: Vec<u8>,
    statistics: Arc<Statistics>,
}

/// The changes of one round that go to one node.
struct Share {
    node: Node,
    /// Which of the changes, and whether the node has to be told that it was named by the other.
    changes: Vec<(usize, bool)>,
}

/// What a node says to a change.
enum Verdict {
    Is(Outcome),
    /// It is to be made again.
    Again,
    Elsewhere(Redirect),
    Refused(Refusal),
}

impl Store {
    pub(super) fn new(routes: &Arc<Routes>, replicas: u16, statistics: &Arc<Statistics>) -> Self {
        Self {
            routes: Arc::clone(routes),
            connections: HashMap::new(),
            known: HashSet::new(),
            asking: HashMap::new(),
            replicas,
            commands: Vec::new(),
            statistics: Arc::clone(statistics),
        }
    }

    /// Connects, and says how that went. Without Redis there is nothing to wait for yet: the first
    /// jobs do that.
    pub(super) fn introduce(&mut self) {
        match self.connection(Node(0)) {
            Ok(connection) => say(format!("writing to Redis {}", connection.address())),
            Err(fault) => say(format!("Redis {fault}; jobs will wait for it")),
        }
    }

    /// Makes the changes, in one round trip to each node.
    ///
    /// A change without an outcome may have been made, and is made again; so are all behind it that have
    /// its key, which keeps their order.
    pub(super) fn attempt(&mut self, changes: &[&Change]) -> Round {
        let mut round = Round {
            outcomes: vec![None; changes.len()],
            problem: None,
        };
        let shares = self.shares(changes);
        let sent: Vec<&Share> = shares
            .iter()
            .filter(|share| match self.send(share, changes) {
                Ok(()) => true,
                Err(fault) => {
                    self.give_up(share.node, fault, &mut round);
                    false
                }
            })
            .collect();
        for share in sent {
            if let Err(fault) = self.receive(share, changes, &mut round) {
                self.give_up(share.node, fault, &mut round);
            }
        }
        keep_order(changes, &mut round.outcomes);
        round
    }

    /// Who gets which of the changes.
    fn shares(&mut self, changes: &[&Change]) -> Vec<Share> {
        let asking = mem::take(&mut self.asking);
        let mut shares: Vec<Share> = Vec::new();
        for (place, change) in changes.iter().enumerate() {
            let slot = change.slot();
            let asked = asking.get(&slot).copied();
            let node = asked.unwrap_or_else(|| self.routes.owner(slot));
            let change = (place, asked.is_some());
            match shares.iter_mut().find(|share| share.node == node) {
                Some(share) => share.changes.push(change),
                None => shares.push(Share {
                    node,
                    changes: vec![change],
                }),
            }
        }
        shares
    }

    fn send(&mut self, share: &Share, changes: &[&Change]) -> Result<(), Fault> {
        let mut commands = mem::take(&mut self.commands);
        let mut is_known = false;
        for &(place, asking) in &share.changes {
            if asking {
                pack(&mut commands, &["ASKING"]);
            }
            changes[place].pack(&mut commands, &mut is_known);
        }
        if self.replicas > 0 {
            pack(
                &mut commands,
                &["WAIT", &self.replicas.to_string(), REPLICAS_MS],
            );
        }
        let sent = self
            .connection(share.node)
            .and_then(|connection| connection.send(&commands));
        commands.clear();
        commands.shrink_to(KEPT_BYTES);
        self.commands = commands;
        sent
    }

    /// Reads the answers of a node. If there are more than questions, none is believed: the first may be
    /// the one too many.
    fn receive(
        &mut self,
        share: &Share,
        changes: &[&Change],
        round: &mut Round,
    ) -> Result<(), Fault> {
        let replicas = self.replicas;
        let connection = self.connection(share.node)?;
        let mut answers = Vec::with_capacity(share.changes.len());
        let lost = share.changes.iter().try_for_each(|&(place, asking)| {
            if asking {
                connection.receive()?;
            }
            answers.push((place, connection.receive()?));
            Ok(())
        });
        if lost.is_ok() {
            require_replicas(connection, replicas)?;
            connection.check_quiet()?;
        }
        let address = connection.address().clone();
        for (place, answer) in answers {
            match verdict(changes[place], answer, &address) {
                Verdict::Is(outcome) => round.outcomes[place] = Some(outcome),
                Verdict::Again => {}
                Verdict::Elsewhere(redirect) => self.follow(redirect),
                Verdict::Refused(refusal) => self.note(share.node, &address, refusal, round),
            }
        }
        lost?;
        self.statistics.batches.observe(share.changes.len() as f64);
        Ok(())
    }

    /// A slot has moved, or is moving.
    fn follow(&mut self, redirect: Redirect) {
        match redirect {
            Redirect::Moved { slot, to } => self.routes.moved(slot, to),
            Redirect::Ask { slot, to } => {
                self.asking
                    .extend(self.routes.node(to).map(|node| (slot, node)));
            }
        }
    }

    /// A node refuses a change for now.
    fn note(&mut self, node: Node, address: &Address, refusal: Refusal, round: &mut Round) {
        let misplaced = NOT_IN_CHARGE.contains(&refusal.code.as_str());
        let fault = Fault::refused(address, refusal);
        // Once for all changes that it refuses.
        if misplaced && self.connections.contains_key(&node) {
            self.give_up(node, fault, round);
        } else {
            self.statistics.redis_error(fault.kind());
            round.problem.get_or_insert(fault);
        }
    }

    /// Drops a connection, and looks for who has taken the node's place.
    fn give_up(&mut self, node: Node, fault: Fault, round: &mut Round) {
        self.statistics.redis_error(fault.kind());
        self.connections.remove(&node);
        // What is wrong with this one says more than what is wrong with the others.
        let _ = self.routes.look_around(node);
        round.problem.get_or_insert(fault);
    }

    fn connection(&mut self, node: Node) -> Result<&mut Connection, Fault> {
        let open = self.connections.get(&node);
        if open.is_some_and(|open| !self.routes.is_at(node, open.address())) {
            self.connections.remove(&node);
        }
        if !self.connections.contains_key(&node) {
            let connection = self.routes.connect(node)?;
            let again = !self.known.insert(node);
            self.statistics.redis_reconnects.inc_by(again.into());
            self.connections.insert(node, connection);
        }
        Ok(self.connections.get_mut(&node).expect("it was inserted"))
    }
}

/// Reads how many replicas have what was written, if that was asked for.
fn require_replicas(connection: &mut Connection, wanted: u16) -> Result<(), Fault> {
    if wanted == 0 {
        return Ok(());
    }
    let problem = match connection.receive()? {
        Answer::Int(found) if found >= wanted.into() => return Ok(()),
        Answer::Int(found) => format!("{found} replicas have the changes, expected {wanted}"),
        Answer::Refusal(refusal) => return Err(Fault::refused(connection.address(), refusal)),
        _ => "it does not say how many replicas have the changes".to_owned(),
    };
    Err(Fault::lost(connection.address(), problem))
}

/// Once a change of a key has to be made again, so have all behind it.
fn keep_order(changes: &[&Change], outcomes: &mut [Option<Outcome>]) {
    let mut again = HashSet::new();
    for (change, outcome) in changes.iter().zip(outcomes) {
        if outcome.is_none() {
            again.insert(change.key.as_str());
        } else if !again.is_empty() && again.contains(change.key.as_str()) {
            *outcome = None;
        }
    }
}

/// Of all that Redis can answer, only a key of another type and a request that it cannot read are the
/// job's own fault. The rest, from LOADING and OOM to a missing permission, passes or is for the operator
/// to mend: the jobs wait.
fn verdict(change: &Change, answer: Answer, from: &Address) -> Verdict {
    let refusal = match answer {
        Answer::Refusal(refusal) => refusal,
        answer => return Verdict::Is(made(change, &answer)),
    };
    if let Some(redirect) = Redirect::of(&refusal, from) {
        return Verdict::Elsewhere(redirect);
    }
    if refusal.code == NO_SCRIPT {
        return Verdict::Again;
    }
    let key = &change.key;
    if is_wrong_type(&refusal) {
        say(format!(
            "Redis: the key {key} holds another type; the job fails: {refusal}"
        ));
        return Verdict::Is(Outcome::Impossible);
    }
    if refusal.text.starts_with("Protocol error") {
        say(format!(
            "Redis: it does not take the job for the key {key}, which fails: {refusal}"
        ));
        return Verdict::Is(Outcome::Impossible);
    }
    Verdict::Refused(refusal)
}

fn made(change: &Change, answer: &Answer) -> Outcome {
    match change.effect(answer) {
        Effect::Made => Outcome::Done,
        Effect::LeftOut => Outcome::LeftOut,
        Effect::Replaced(kind) => {
            let key = &change.key;
            say(format!(
                "the key {key} held a {kind}, which the row has replaced; is it used by somebody else?"
            ));
            Outcome::Done
        }
    }
}

/// Redis before 7 wraps what a script ran into: the code is then somewhere in the text.
fn is_wrong_type(refusal: &Refusal) -> bool {
    refusal.code == WRONG_TYPE || refusal.text.contains(WRONG_TYPE)
}
