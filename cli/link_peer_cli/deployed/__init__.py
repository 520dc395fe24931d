"""What is deployed: functions of both generations of Function Compute, the rules that invoke them, and the queues."""
