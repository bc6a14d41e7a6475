"""The console: pages about what the API answers. So far figures, times, colours and charts."""
