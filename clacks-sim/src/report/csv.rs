//! A run as tables: a line of names with their units, then a line a row. Unknown values are empty.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clacks_proto::Instant;

use super::FaultCount;
use crate::metrics::{Column, Flights, Series};
use crate::observation::Fault;

/// The state of the network and what happened, interval by interval. Counts are per interval.
pub const SERIES_FILE: &str = "series.csv";
/// How often each fault was asked for and happened.
pub const FAULTS_FILE: &str = "faults.csv";
/// The ways of messages.
pub const FLIGHTS_FILE: &str = "flights.csv";

/// Writes a run into a directory that exists, and returns the files: [`SERIES_FILE`], [`FAULTS_FILE`], and with flights
/// [`FLIGHTS_FILE`]. Files of these names that are there are replaced.
///
/// # Errors
///
/// The system's, when a file can't be written. Files written before it stay, the one in question may be there in part.
pub fn write_csv(
    directory: &Path,
    series: &Series,
    faults: &[FaultCount],
    flights: Option<&Flights>,
) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut write = |name: &str, fill: &dyn Fn(&mut dyn Write) -> io::Result<()>| {
        let path = directory.join(name);
        let mut out = BufWriter::new(File::create(&path)?);
        fill(&mut out)?;
        out.flush()?;
        files.push(path);
        io::Result::Ok(())
    };
    write(SERIES_FILE, &|out| write_series(out, series))?;
    write(FAULTS_FILE, &|out| write_faults(out, faults))?;
    if let Some(flights) = flights.filter(|flights| !flights.flights().is_empty()) {
        write(FLIGHTS_FILE, &|out| write_flights(out, flights))?;
    }
    Ok(files)
}

fn write_series(out: &mut dyn Write, series: &Series) -> io::Result<()> {
    write!(out, "at [s],interval [s]")?;
    for column in Column::ALL {
        write!(out, ",{} [{}]", column.key(), column.unit())?;
    }
    for fault in Fault::ALL {
        write!(out, ",fault_{} [times]", fault.as_str().replace(' ', "_"))?;
    }
    writeln!(out)?;
    for sample in series.samples() {
        write!(out, "{},{}", Seconds::at(sample.at), Seconds(sample.interval))?;
        for column in Column::ALL {
            match sample.value(column) {
                Some(value) => write!(out, ",{value}")?,
                None => write!(out, ",")?,
            }
        }
        for fault in Fault::ALL {
            write!(out, ",{}", sample.faults(fault))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_faults(out: &mut dyn Write, faults: &[FaultCount]) -> io::Result<()> {
    writeln!(out, "fault,asked [times],happened [times]")?;
    for count in faults {
        let asked = count.asked.map(|asked| asked.to_string()).unwrap_or_default();
        writeln!(out, "{},{asked},{}", count.fault.as_str(), count.happened)?;
    }
    Ok(())
}

fn write_flights(out: &mut dyn Write, flights: &Flights) -> io::Result<()> {
    writeln!(out, "from [tower],to [tower],message [number],departs [s],arrives [s],broke [s]")?;
    for flight in flights.flights() {
        let message = flight.message.map(|message| message.0.to_string()).unwrap_or_default();
        let (departs, arrives) = (Seconds::at(flight.departs), Seconds::at(flight.arrives));
        let (from, to) = (flight.from.0, flight.to.0);
        let broke = flight.broke.map(|at| Seconds::at(at).to_string()).unwrap_or_default();
        writeln!(out, "{from},{to},{message},{departs},{arrives},{broke}")?;
    }
    Ok(())
}

/// Exact to the nanosecond.
struct Seconds(Duration);

impl Seconds {
    fn at(moment: Instant) -> Self {
        Self(moment.duration_since(Instant::ORIGIN))
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let exact = format!("{}.{:09}", self.0.as_secs(), self.0.subsec_nanos());
        f.write_str(exact.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::Example;

    fn table(write: impl Fn(&mut dyn Write) -> io::Result<()>) -> Vec<Vec<String>> {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    }

    #[test]
    fn a_series_reads_back_as_it_was() {
        let example = Example::long();
        assert!(example.series.samples().iter().all(|row| row.interval != Duration::from_secs(6)));
        let table = table(|out| write_series(out, &example.series));
        let samples = example.series.samples();
        assert_eq!(table.len(), samples.len() + 1);
        let place = |key: &str| {
            let header = table[0].iter().position(|name| name.split(' ').next() == Some(key));
            header.unwrap_or_else(|| panic!("{key}"))
        };
        for (row, sample) in table[1..].iter().zip(samples) {
            assert_eq!(row.len(), table[0].len());
            let seconds = sample.at.duration_since(Instant::ORIGIN).as_secs_f64();
            assert_eq!(row[0].parse(), Ok(seconds));
            for column in Column::ALL {
                let read = row[place(column.key())].parse().ok();
                assert_eq!(read, sample.value(column), "{column:?}");
            }
            for fault in Fault::ALL {
                let key = format!("fault_{}", fault.as_str().replace(' ', "_"));
                assert_eq!(row[place(&key)].parse(), Ok(sample.faults(fault)));
            }
        }
    }

    #[test]
    fn every_name_has_a_unit() {
        let example = Example::small();
        let flights = example.flights.as_ref().unwrap();
        let tables = [
            table(|out| write_series(out, &example.series)),
            table(|out| write_flights(out, flights)),
        ];
        for name in tables.iter().flat_map(|table| &table[0]) {
            assert!(name.ends_with(']') && name.contains(" ["), "{name}");
        }
    }

    #[test]
    fn moments_are_exact() {
        let show = |nanos| Seconds::at(Instant::from_nanos(nanos)).to_string();
        assert_eq!(show(0), "0");
        assert_eq!(show(1), "0.000000001");
        assert_eq!(show(1_250_000_000), "1.25");
        assert_eq!(show(10_000_000_000), "10");
    }

    #[test]
    fn files_are_written_and_flights_only_when_there_are_any() {
        let directory = tempfile::tempdir().unwrap();
        let example = Example::small();
        let flights = example.flights.as_ref();
        let files = write_csv(directory.path(), &example.series, &example.faults, flights).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap()).collect();
        assert_eq!(names, [SERIES_FILE, FAULTS_FILE, FLIGHTS_FILE]);
        let lines = std::fs::read_to_string(&files[2]).unwrap().lines().count();
        assert_eq!(lines, flights.unwrap().flights().len() + 1);
        let files = write_csv(directory.path(), &example.series, &[], None).unwrap();
        assert_eq!(files.len(), 2);
        assert!(write_csv(&directory.path().join("absent"), &example.series, &[], None).is_err());
    }
}
