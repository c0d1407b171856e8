//! A web browser without a window: Chromium, led by its driver.

use std::process::Command;
use std::time::Duration;

use fantoccini::error::CmdError;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::folder;
use super::ports::Port;
use super::process::Process;
use super::wait::wait_until;

/// How long a page may take to load.
const PATIENCE: Duration = Duration::from_secs(60);

/// What keeps Chromium to the page that it is told to load, also in a container and as root.
const OPTIONS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// A browser with a profile of its own.
#[derive(Debug)]
pub(crate) struct Browser {
    /// `None` once it is being closed.
    client: Option<Client>,
    runtime: Runtime,
    /// Before `folder`: the driver ends before its files go.
    _driver: Process,
    _port: Port,
    _folder: TempDir,
}

impl Browser {
    /// A phone's, with a screen of so many pixels as style sheets count them.
    pub(crate) fn phone(width: u32, height: u32) -> Self {
        let (folder, port) = (folder::temporary(), Port::free());
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", port.number()));
        let mut driver = Process::start(command, &folder.path().join("log"));

        let profile = format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        );
        let capabilities = json!({
            "goog:chromeOptions": {
                "binary": "/usr/bin/chromium",
                "args": OPTIONS.into_iter().chain([&*profile]).collect::<Vec<_>>(),
                "mobileEmulation": {
                    "deviceMetrics": { "width": width, "height": height, "pixelRatio": 2.0 },
                },
            },
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        if let serde_json::Value::Object(capabilities) = capabilities {
            builder.capabilities(capabilities);
        }
        let url = format!("http://127.0.0.1:{}", port.number());
        let runtime = Runtime::new().expect("a runtime");
        let client = driver.wait_until_ready(|| runtime.block_on(builder.connect(&url)));
        Self {
            client: Some(client),
            runtime,
            _driver: driver,
            _port: port,
            _folder: folder,
        }
    }

    pub(crate) fn open(&self, url: &str) {
        self.run(self.client().goto(url));
    }

    pub(crate) fn reload(&self) {
        self.run(self.client().refresh());
    }

    pub(crate) fn url(&self) -> String {
        self.run(self.client().current_url()).to_string()
    }

    /// The texts of the elements that a CSS selector finds, as a reader sees them.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return Array.from(document.querySelectorAll(arguments[0]), e => e.innerText)";
        let texts = self.run(self.client().execute(script, vec![selector.into()]));
        serde_json::from_value(texts).expect("an array of texts")
    }

    /// Whether the reader sees the whole width of the page.
    pub(crate) fn shows_all_of_the_width(&self) -> bool {
        let script = "return document.documentElement.scrollWidth <= window.innerWidth";
        let answer = self.run(self.client().execute(script, Vec::new()));
        answer.as_bool().expect("true or false")
    }

    /// Fills in a form, by the names of its fields, and presses its button; waits for the next page.
    pub(crate) fn submit(&self, fields: &[(&str, &str)]) {
        let before = self.url();
        self.run(async {
            let form = self.client().form(Locator::Css("form")).await?;
            for (name, value) in fields {
                form.set_by_name(name, value).await?;
            }
            form.submit_with(Locator::Css("button")).await
        });
        wait_until(PATIENCE, "the next page", || match self.url() {
            same if same == before => Err(same),
            _ => Ok(()),
        });
    }

    /// A picture of the screen, as PNG.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        self.run(self.client().screenshot())
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("an open browser")
    }

    #[track_caller]
    fn run<T>(&self, step: impl Future<Output = Result<T, CmdError>>) -> T {
        self.runtime
            .block_on(step)
            .unwrap_or_else(|error| panic!("the browser: {error}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // It ends Chromium. Where that fails, the end of the driver does.
            let _ = self.runtime.block_on(client.close());
        }
    }
}
