//! A tower with a dashboard, and a plain HTTP client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::common::{DEADLINE, Tower, clacks};

/// A tower with a dashboard.
pub(crate) struct Shown {
    pub(crate) tower: Tower,
    pub(crate) control: String,
    pub(crate) port: u16,
    pub(crate) token: String,
}

impl Shown {
    pub(crate) fn start(args: &[&str]) -> Self {
        let args = [&["--http", "127.0.0.1:0", "--clear"], args].concat();
        let mut tower = Tower::start(&args);
        let control = tower.told()[0]["control"].as_str().unwrap().to_owned();
        let dashboard = tower.wait_for("dashboard", |_| true);
        let (port, token) = port_and_token(&dashboard);
        Self { tower, control, port, token }
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        Path::new(&self.control).with_file_name(format!("127.0.0.1:{}.token", self.port))
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Returns the whole answer to a `GET` with the right `Host` and further headers.
    pub(crate) fn get(&self, path: &str, headers: &[&str]) -> Answer {
        let host = format!("Host: 127.0.0.1:{}", self.port);
        self.ask("GET", path, &[&[&*host], headers].concat())
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        let mut stream = self.connect();
        let head = headers.join("\r\n");
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let mut bytes = [0; 4_096];
        // Events never end.
        while !String::from_utf8_lossy(&answer).contains("text/event-stream") {
            match stream.read(&mut bytes).unwrap() {
                0 => break,
                count => answer.extend_from_slice(&bytes[..count]),
            }
        }
        Answer::parse(&String::from_utf8(answer).unwrap())
    }

    pub(crate) fn authorization(&self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }

    /// Opens `/events`.
    pub(crate) fn events(&self) -> Events {
        let mut stream = self.connect();
        self.ask_for_events(&mut stream);
        Events(BufReader::new(stream))
    }

    pub(crate) fn ask_for_events(&self, stream: &mut TcpStream) {
        let (port, authorization) = (self.port, self.authorization());
        let head = format!("GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{authorization}");
        write!(stream, "{head}\r\n\r\n").unwrap();
    }

    pub(crate) fn status(&self) -> Value {
        let status = clacks(&["status", "--json", "--control", &self.control]).output().unwrap();
        serde_json::from_slice(&status.stdout).unwrap()
    }

    /// Asks for the metrics until one has a value.
    pub(crate) fn wait_for_metric(&self, name: &str, value: &str) {
        let deadline = Instant::now() + DEADLINE;
        let line = format!("{name} {value}");
        while Instant::now() < deadline {
            if self.get("/metrics", &[]).body.lines().any(|found| found == line) {
                return;
            }
        }
        panic!("{line} never was in the metrics");
    }
}

/// Returns the port of the event `dashboard`, and the token in the file that it names.
pub(crate) fn port_and_token(dashboard: &Value) -> (u16, String) {
    let url = dashboard["url"].as_str().unwrap();
    let port = url.strip_prefix("http://127.0.0.1:").and_then(|url| url.strip_suffix('/'));
    let token = std::fs::read_to_string(dashboard["token_file"].as_str().unwrap()).unwrap();
    (port.unwrap().parse().unwrap(), token.trim_end().to_owned())
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }
}

/// The server-sent events.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    /// Returns the status line of the answer.
    pub(crate) fn status(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Returns the data of the next event with a name. Returns `None` at the end.
    pub(crate) fn next(&mut self, name: &str) -> Option<Value> {
        let mut is_it = false;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(event) = line.strip_prefix("event: ") {
                is_it = event.trim_end() == name;
            }
            if let (true, Some(data)) = (is_it, line.strip_prefix("data: ")) {
                return Some(serde_json::from_str(data).unwrap());
            }
        }
    }
}
