"""What is written from a verified log: tables and books for an auditor's own tools."""
