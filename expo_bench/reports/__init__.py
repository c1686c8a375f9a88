"""What the pages, figures and tables of a report are made of; `expo_bench.reporting` puts them together."""
