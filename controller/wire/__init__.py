"""The contract between operator, runner and agent."""
