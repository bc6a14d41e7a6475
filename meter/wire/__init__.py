"""What is signed and sent: envelope, batch, receipt, stored receipt."""
