"""Prometheus: what it scrapes and how often, whose rules it keeps, and whom it tells.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from .catalogue import Catalogue
from .entries import Deployment, Job
from .yaml_text import as_yaml

FLAGS: Final = (
    "--storage.tsdb.retention.time=30d",
    "--storage.tsdb.retention.size=10GB",
    "--enable-feature=native-histograms,exemplar-storage",  # then quantiles are those of native histograms
)
INTERVAL: Final = "10s"  # between scrapes, of jobs that have none of their own
PORT: Final = 9999  # 9090 is the market data's
URL: Final = f"http://127.0.0.1:{PORT}"


def files(catalogue: Catalogue) -> Mapping[str, str]:
    """prometheus.yml."""
    document = {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": ["rules.yml", "alerts.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [catalogue.deployment.alertmanager]}]}]},
        "scrape_configs": [_scrape(catalogue.deployment, job) for job in catalogue.jobs.values()],
    }
    optional = [f"targets/{job.name}.yml" for job in catalogue.jobs.values() if job.optional]
    comments = [f"prometheus {' '.join(FLAGS)}"]
    if optional:
        comments.append(f"Scraped only where there is such a file, - targets: [HOST:PORT]: {', '.join(optional)}")
    return {"prometheus.yml": as_yaml(document, *comments)}


def _scrape(where: Deployment, job: Job) -> dict[str, Any]:
    config: dict[str, Any] = {"job_name": job.name}
    if job.interval != INTERVAL:
        config["scrape_interval"] = job.interval
    if job.path != "/metrics":
        config["metrics_path"] = job.path
    if where.token_file and urlsplit(where.service).netloc in job.targets:
        config["authorization"] = {"credentials_file": where.token_file}
    if job.optional:
        return config | {"file_sd_configs": [{"files": [f"targets/{job.name}.yml"]}]}
    return config | {"static_configs": [{"targets": list(job.targets)}]}
