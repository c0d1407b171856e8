//! The page of `examples/web`.

use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use ureq::{Agent, Body, http::Response};

use super::database::{Database, product_file};
use super::folder;
use super::ports::Port;
use super::process::Process;
use super::redis::Redis;

/// How long a request may take until the test gives up; longer than the page allows itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// The page, served by an nginx and a php-fpm of its own.
#[derive(Debug)]
pub(crate) struct Page {
    /// Before `folder`: the servers end before their log goes.
    process: Process,
    port: Port,
    http: Agent,
    _folder: TempDir,
}

/// What the page answered to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) took: Duration,
}

impl Page {
    /// Serves the table `test` of `database`, where it creates the page's account, and `redis`.
    pub(crate) fn start(database: &Database, redis: &Redis) -> Self {
        database.run_script(&product_file("examples/web/account.sql"));
        let mysql = format!("127.0.0.1:{}", database.port());
        Self::start_with(&redis.address(), &mysql)
    }

    /// With servers at these addresses, which may be nobody's.
    pub(crate) fn start_with(redis: &str, mysql: &str) -> Self {
        let (folder, port) = (folder::temporary(), Port::free());
        let mut command = Command::new(product_file("examples/web/serve"));
        command
            .env("LISTEN", format!("127.0.0.1:{}", port.number()))
            .env("REDIS", redis)
            .env("MYSQL", mysql)
            .env("TMPDIR", folder.path());
        let process = Process::start(command, &folder.path().join("log"));
        let http = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE))
            .build();
        let mut page = Self {
            process,
            port,
            http: http.into(),
            _folder: folder,
        };
        page.wait_until_ready();
        page
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port.number())
    }

    /// Asks for the file at `path`, such as `/`.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let url = format!("{}{}", self.url(), path.trim_start_matches('/'));
        answer(|| self.http.get(&url).call())
    }

    /// Sends the form as a page at `origin` does.
    pub(crate) fn change(&self, origin: &str, id: &str, name: &str) -> Answer {
        let form = [("id", id), ("name", name)];
        answer(|| {
            self.http
                .post(self.url())
                .header("Origin", origin)
                .send_form(form)
        })
    }

    /// Asks php-fpm, over nginx, and leaves the page alone: it would put names into Redis.
    fn wait_until_ready(&mut self) {
        let url = format!("{}ping", self.url());
        let http = &self.http;
        self.process
            .wait_until_ready(|| match http.get(&url).call() {
                Ok(response) if response.status() == 200 => Ok(()),
                other => Err(other.map(|response| response.status())),
            });
    }
}

#[track_caller]
fn answer(request: impl FnOnce() -> Result<Response<Body>, ureq::Error>) -> Answer {
    let started = Instant::now();
    let mut response = request().unwrap_or_else(|error| panic!("the page: {error}"));
    Answer {
        status: response.status().as_u16(),
        body: response.body_mut().read_to_string().expect("UTF-8"),
        took: started.elapsed(),
    }
}
