"""Starts, watches, drains and replaces all other processes. Never loads torch."""

from sovits_serve.supervisor.supervisor import run_supervisor

__all__ = ["run_supervisor"]
