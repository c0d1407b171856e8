//! The use of one connection to a job server, for one exchange or for many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::gearman::limits::Limits;
use crate::gearman::servers::failover::Stage;
use crate::gearman::servers::job_server::JobServer;
use crate::gearman::servers::pool::{NoPermit, Permit, Returned};
use crate::gearman::wire::connection::Connection;
use crate::gearman::wire::deadline::{Deadline, Spent};

/// A connection that nobody else uses. Dropped, it is closed; [`Lease::keep`] keeps it for the next
/// call.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    /// How far the connection has got.
    pub(crate) stage: Stage,
    places: Places,
}

/// What the pool has given.
#[derive(Debug)]
struct Places {
    server: Arc<JobServer>,
    returned: Returned,
}

impl Lease {
    /// Waits for a permit, and connects if no connection is left from an earlier call.
    pub(crate) fn of(
        server: &Arc<JobServer>,
        deadline: &Deadline<'_>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let began = Instant::now();
        let permit = server.pool.take(limits.connections, deadline, began);
        match permit.map_err(|no_permit| refusal(server, no_permit, limits, began))? {
            Permit::Kept(connection) => Ok(Self {
                connection,
                stage: Stage::Kept,
                places: Places::of(server, false),
            }),
            Permit::Open => Self::open(Places::of(server, true), deadline, limits),
        }
    }

    /// Connects anew in the place of a kept connection that was dead.
    pub(crate) fn reopen(self, deadline: &Deadline<'_>, limits: &Limits) -> Result<Self, Error> {
        let Self {
            connection,
            mut places,
            ..
        } = self;
        drop(connection);
        if !places.returned.opening {
            places.server.pool.exchange_for_open();
            places.returned.opening = true;
        }
        Self::open(places, deadline, limits)
    }

    fn open(places: Places, deadline: &Deadline<'_>, limits: &Limits) -> Result<Self, Error> {
        Ok(Self {
            connection: places.server.connect(deadline, limits.connect)?,
            stage: Stage::Fresh,
            places,
        })
    }

    /// The server at the other end.
    pub(crate) fn server(&self) -> &Arc<JobServer> {
        &self.places.server
    }

    /// The server has answered: it has accepted the connection.
    pub(crate) fn proven(&mut self) {
        if !matches!(self.stage, Stage::Proven(_)) {
            self.stage = Stage::Proven(Duration::ZERO);
            self.places.give_back(Returned {
                in_use: false,
                opening: true,
            });
        }
    }

    /// The connection is used for longer than one exchange, so that it does not keep others from theirs.
    pub(crate) fn release_permit(&mut self) {
        self.proven();
        self.places.give_back(Returned {
            in_use: true,
            opening: false,
        });
    }

    /// Keeps the connection for the next call, if it is clean.
    pub(crate) fn keep(self) {
        let Self {
            connection,
            mut places,
            ..
        } = self;
        let returned = std::mem::replace(&mut places.returned, Returned::NOTHING);
        places.server.pool.put(connection, returned, Instant::now());
    }
}

impl Places {
    fn of(server: &Arc<JobServer>, opening: bool) -> Self {
        Self {
            server: Arc::clone(server),
            returned: Returned {
                in_use: true,
                opening,
            },
        }
    }

    /// Gives back what is there of `wanted`.
    fn give_back(&mut self, wanted: Returned) {
        let held = &mut self.returned;
        let returned = Returned {
            in_use: wanted.in_use && held.in_use,
            opening: wanted.opening && held.opening,
        };
        held.in_use &= !returned.in_use;
        held.opening &= !returned.opening;
        if returned.in_use || returned.opening {
            self.server.pool.give_back(returned);
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.give_back(Returned::ALL);
    }
}

fn refusal(server: &JobServer, no_permit: NoPermit, limits: &Limits, began: Instant) -> Error {
    match no_permit {
        NoPermit::Spent(Spent::Stopped) => Error::Stopped,
        NoPermit::Spent(Spent::TimedOut) => Error::Busy {
            server: Arc::clone(&server.name),
            connections: limits.connections,
            waited: began.elapsed(),
        },
        NoPermit::ServerFailed => match server.health.attempt(Instant::now()) {
            Err(resting) => server.at_rest(resting),
            // It is well again by now; there is another chance with the next call.
            Ok(_attempt) => Error::Busy {
                server: Arc::clone(&server.name),
                connections: limits.connections,
                waited: began.elapsed(),
            },
        },
    }
}
